"""
Container images without a registry: `oci` writes archives, `rootfs` makes Debian file systems, `model` assembles the demo's model, `build`
puts them together.

Run it as `python -m hack.images build [NAME ...]`: a line each with name, reference and archive.
"""
