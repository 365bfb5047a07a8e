"""Sources and destinations, and the configuration that names them."""
