"""The platform's SQL database: schema, migrations, one store a noun."""
