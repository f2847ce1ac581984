"""throng and its peers on the same job: see README.md here."""
