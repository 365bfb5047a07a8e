"""The API's documentation: the OpenAPI document and the pages below /docs. Start at `routes`."""
