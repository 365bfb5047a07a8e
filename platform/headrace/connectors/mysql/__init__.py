"""MySQL and MariaDB as a source and a destination."""
