"""The configuration model: frozen classes that are schema, defaults and documentation at once."""
