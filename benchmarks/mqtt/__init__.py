"""MQTT beside HAProxy, which relays it as TCP, and beside no proxy at all.

    run.py        the works, and who does them
    gateways.py   the proxies, and mosquitto behind them
    load.py       publishers and subscribers, and a broker that costs next to nothing
    packets.py    the few packets that those need, made beforehand
    memory.py     what an idle client holds
"""
