"""Clients of MQTT and the brokers that serve them."""
