"""From a study file to word vectors of every feature space, and from those to the brain.

spaces    a feature space of the study -> what makes its vectors
embed     stories x feature spaces -> one HDF5 file a space, made once
"""
