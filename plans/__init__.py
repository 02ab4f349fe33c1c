"""Plans files that come with the package."""
