"""The commands of ``vimnp``.

Each is a module with DESCRIPTION and EXAMPLE for its ``--help``, ``add_arguments(parser)`` and
``run(options)``, which returns the exit code.
"""
