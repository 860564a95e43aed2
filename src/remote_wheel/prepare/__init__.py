"""A verified distribution becomes what mounting needs: its modules, a verdict, an image, a tree."""
