"""The world behind the ports: databases, bar stores, brokers, vendors, news and notifiers by name."""
