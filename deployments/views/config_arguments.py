"""The editor's button that writes the arguments as the chosen engine wants them."""

from __future__ import annotations

from django.http import HttpResponse
from django.views.decorators.http import require_POST
from django_htmx.http import trigger_client_event

from deployments.engines import engine_named, engine_names
from deployments.engines.argument_style import Wanted
from deployments.forms import ConfigForm
from deployments.selectors_catalogue import model_names

from .fragments import PageRequest, editor_of, for_viewers

#: Stands where no repository was typed yet.
PLACEHOLDER = "ORGANISATION/MODEL"


@require_POST
@for_viewers
def config_arguments(request: PageRequest) -> HttpResponse:
    """The text area with the argument template filled from the other fields; as typed where there is none.

    Saves nothing. The preview follows, since the answer says that the form changed.
    """
    editor_of(request)
    data = request.POST.copy()
    form = ConfigForm(data, models=model_names(), fixed_name=data.get("editing", ""))
    form.is_valid()  # what is right of it counts, whatever else is still wrong
    typed = form.cleaned_data
    name = str(typed.get("engine") or "")
    if name in engine_names() and (style := engine_named(name).arguments).is_template:
        wanted = Wanted(
            model=typed.get("weights_repository") or PLACEHOLDER,
            served_name=typed.get("served_name") or data.get("name") or "model",
            gpus=typed.get("gpus") or 1,
            context_tokens=typed.get("context_tokens"),
            concurrent_requests=typed.get("concurrent_requests") or 1,
        )
        if name == "localai":
            # Its gallery knows models by name, not by repository.
            wanted = Wanted(model=wanted.served_name, served_name=wanted.served_name)
        data["arguments"] = "\n".join(style.argv(wanted))
    response = HttpResponse(str(form["arguments"]))
    return trigger_client_event(response, "change", after="swap")
