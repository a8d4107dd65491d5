"""Other libraries' own files: written by their oldest and newest release, read by this package.

`.ci/peers` installs each release of releases.toml in an environment of its own and runs its writer
there; test_releases.py reads what they wrote. A writer imports nothing of this package.
"""
