"""What the API says of itself: the OpenAPI document and the pages below /docs."""
