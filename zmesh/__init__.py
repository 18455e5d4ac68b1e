"""What people import outside of runs: zmesh.testing."""
