"""The networks: a folder for each family, and what all of them offer."""
