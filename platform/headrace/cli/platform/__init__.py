"""`headrace up`: the platform on one machine, its processes and its home folder."""
