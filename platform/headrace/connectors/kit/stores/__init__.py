"""Object stores: locations, credentials and a client."""
