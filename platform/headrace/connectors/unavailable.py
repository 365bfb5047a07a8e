"""What connectors say whose configuration is understood, and which cannot move data yet."""

from headrace.connectors.base import ConnectorError


class NotYetAvailable(ConnectorError):
    """The connector accepts its configuration and has no way to move data in this release."""

    code = "connector.not_yet_available"
    title = "Connector not yet available"
    hint = "The pipeline is kept as it is; it can run once a release brings the connector."

    def __init__(self, title: str) -> None:
        super().__init__(f"This release of Headrace cannot move data with {title} yet.")
