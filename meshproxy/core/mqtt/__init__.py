"""MQTT, decided: topics, who may do what, and what is under way.  Nothing here does I/O."""
