"""A run's books: its folder, journal and study, what they add up to, and how damage is mended."""
