"""Services that keep secrets: Vault and Google Cloud. References read from them; they wrap keyrings."""
