"""`zmesh test`: the tests of functions, and the throw-away database they run in."""
