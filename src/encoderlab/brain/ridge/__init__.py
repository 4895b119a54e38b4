"""Ridge regression over many voxels."""
