"""What the tables of families share."""
import copy


def vary(config, _drop=(), **changes):
    """A copy of a config with some keys changed or dropped."""
    out = copy.deepcopy(config)
    for key in _drop:
        out.pop(key, None)
    out.update(changes)
    return out
