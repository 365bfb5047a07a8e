"""What every endpoint is made of: routes, requests, answers, problems. No noun of ours is known here."""
