"""A run's books: its folder, journal and study, the story that they tell, and mending them."""
