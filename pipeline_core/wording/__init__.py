"""Our own words about people, for rows that are made from templates: who they are, what is said of them, and where."""
