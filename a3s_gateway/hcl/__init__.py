"""The configuration language: HCL text in, nodes that know their place out."""
