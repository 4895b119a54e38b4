"""Work with fMRI recordings: alignment, responses, scores, significance. Functions on arrays, times in seconds.

Public: `design.Design`, `subject.open_subject`, `significance.BlockPermutation`, `alignment_check.diagnose`,
`noise_ceiling.explainable_variance`.
"""
