"""The verbs of the day: each service takes jobs, decides with the domain, and leaves facts and follow-up jobs."""
