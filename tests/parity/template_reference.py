"""What transformers makes of a chat template: the text, or the error with its line. The clock stands still."""
import datetime
import warnings

NOW = datetime.datetime(2026, 2, 3, 4, 5, 6)
NOW_PARTS = [NOW.year, NOW.month, NOW.day, NOW.hour, NOW.minute, NOW.second, NOW.weekday(), NOW.timetuple().tm_yday]


class FrozenDatetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return NOW


def load():
    """transformers' module, with the clock stopped."""
    from transformers.utils import chat_template_utils

    chat_template_utils.datetime = FrozenDatetime
    return chat_template_utils


class Failure:
    """The reference raised: the template's line (0: unknown), the kind of exception, what it says."""

    def __init__(self, error):
        self.kind = type(error).__name__
        self.text = str(error)
        self.line = getattr(error, "lineno", None) or 0
        tb = error.__traceback__
        while tb and not hasattr(error, "lineno"):
            if tb.tb_frame.f_code.co_filename in ("<template>", "<unknown>"):
                self.line = tb.tb_lineno
            tb = tb.tb_next

    def __repr__(self):
        return f"{self.kind} in line {self.line}: {self.text[:200]}"


def render(template, variables):
    """A template with its variables as they are: str or Failure."""
    utils = load()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return utils._compile_jinja_template(template).render(**variables)
    except Exception as error:  # noqa: BLE001 - templates raise whatever they like
        return Failure(error)


def render_chat(template, messages, tools=None, documents=None, **kwargs):
    """A conversation through render_jinja_template: str or Failure."""
    utils = load()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            rendered, _ = utils.render_jinja_template(
                [messages], tools=tools, documents=documents, chat_template=template, **kwargs
            )
            return rendered[0]
    except Exception as error:  # noqa: BLE001
        return Failure(error)


def variables_of(messages, tools=None, documents=None, add_generation_prompt=False, **kwargs):
    """What render_jinja_template hands to the template."""
    utils = load()
    return {
        "messages": utils._alias_reasoning_fields(utils._plain_template_data(messages)),
        "tools": utils._plain_template_data(tools),
        "documents": utils._plain_template_data(documents),
        "add_generation_prompt": add_generation_prompt,
        **utils._plain_template_data(kwargs),
    }
