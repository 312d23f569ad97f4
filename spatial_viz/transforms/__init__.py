"""The warp and its grid."""
