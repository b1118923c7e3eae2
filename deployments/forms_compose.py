"""The form that takes a Compose file: uploaded or pasted, with values for its variables."""

from __future__ import annotations

from typing import Any, cast

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .compose.importing import ComposeFile, read_compose
from .compose.interpolation import read_variables
from .compose.reading import MAX_BYTES
from .exceptions import ComposeError

_CODE = {"class": "form-control font-monospace", "spellcheck": "false", "autocapitalize": "off", "wrap": "off"}


class ComposeForm(forms.Form):
    """After ``is_valid`` its :attr:`file` was read. A file that was uploaded becomes the text, so that it stays."""

    upload = forms.FileField(
        required=False,
        label=gettext_lazy("Compose file"),
        widget=forms.ClearableFileInput({"class": "form-control", "accept": ".yml,.yaml"}),
    )
    text = forms.CharField(
        required=False,
        strip=False,
        label=gettext_lazy("Or its text"),
        widget=forms.Textarea({**_CODE, "rows": "14"}),
        help_text=gettext_lazy("Nothing of it is kept before you save a config, and no secret of it ever."),
    )
    variables = forms.CharField(
        required=False,
        label=gettext_lazy("Variables"),
        widget=forms.Textarea({**_CODE, "rows": "3"}),
        help_text=gettext_lazy("What the file's ${NAME} stand for: one NAME=value a line, as in a file .env."),
    )
    service = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.file: ComposeFile | None = None

    def clean(self) -> dict[str, Any]:
        """Read the file. What is refused stands at the field that it came from."""
        cleaned = dict(super().clean() or self.cleaned_data)
        try:
            variables = read_variables(cleaned.get("variables", ""))
        except ComposeError as error:
            self.add_error("variables", str(error))
            return cleaned
        upload = cleaned.get("upload")
        if not upload and not cleaned.get("text", "").strip():
            self.add_error("text", _("Choose a file, or paste its text."))
            return cleaned
        source = "upload" if upload else "text"
        try:
            # One byte more than is taken tells that there are too many.
            content = upload.read(MAX_BYTES + 1) if upload else cleaned["text"]
            self.file = read_compose(content, variables=variables)
        except ComposeError as error:
            self.add_error(source, str(error))
            return cleaned
        if upload:
            self._keep(content.decode("utf-8-sig"))
        return cleaned

    def _keep(self, text: str) -> None:
        """Show the text of an upload as if it had been pasted: browsers send no file twice."""
        data = cast("QueryDict", self.data).copy()
        data["text"] = text
        self.data = data

    @property
    def chosen(self) -> str:
        """The service that was chosen; the likeliest one while none of this file's was."""
        if self.file is None:
            return ""
        wanted = self.cleaned_data.get("service", "")
        return wanted if any(item.name == wanted for item in self.file.services) else self.file.likely
