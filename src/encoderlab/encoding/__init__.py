"""From a study file to word vectors of every feature space, and from those to the brain.

spaces    a feature space of the study -> what makes its vectors
sweep     an encoder and every run of a masked-lm study -> feature spaces
embed     stories x feature spaces -> one HDF5 file a space (`vectors_file`), made once
rows      a space's file -> what ridge sees, anew where something was fitted to training stories
score     one space against one subject; `other_models`: banded ridge, the laboratory's pipeline
check     a study file -> everything opened and matched, or every problem at once
encode    all spaces against all subjects -> `table` and report
"""
