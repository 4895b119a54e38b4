"""Many runs: what a study needs done, and its commands."""
