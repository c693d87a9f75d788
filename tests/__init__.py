"""The tests: a folder for each room of the package, what spans several rooms, and ``support``.

pytest imports this package from where it lies, so that ``tests.support`` is found without a folder
on ``sys.path``: the checkout's root there would hide an installed vimnp behind the one in it.
"""
