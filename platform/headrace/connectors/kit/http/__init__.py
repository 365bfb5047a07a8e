"""HTTP APIs: a client with retries and limits, authentication, messages."""
