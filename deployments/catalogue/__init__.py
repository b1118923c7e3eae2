"""The catalogue that comes with Berth: one YAML file for each model family, and how they are loaded."""
