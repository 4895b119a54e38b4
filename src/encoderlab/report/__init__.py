"""Draw given tables: the page of a study, its figures and its words."""
