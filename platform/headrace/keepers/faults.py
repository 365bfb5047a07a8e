"""What keeps a keeper of secrets from giving what it was asked for."""


class KeeperRefused(Exception):
    """A keeper did not give what it was asked for. The text says why and holds no secret."""


class KeeperUnreachable(KeeperRefused):
    """A keeper did not answer, or asked to come again. It may answer later."""
