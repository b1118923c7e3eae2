"""The steps of a delivery that ask its image: Test and Report."""
