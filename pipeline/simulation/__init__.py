"""What `pipeline.simulate` is made of: the world, the stories told in it, and which rules each story breaks."""
