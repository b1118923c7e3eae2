"""Addresses of registries and of a delivery's step Push, included by :mod:`deployments.urls`."""

from __future__ import annotations

from django.urls import path

from .views import pushes, registries

urlpatterns = [
    path("registries/", registries.registry_list, name="registries"),
    path("registries/new/", registries.registry_new, name="registry_new"),
    path("registries/<str:name>/", registries.registry_edit, name="registry_edit"),
    path("registries/<str:name>/check/", registries.registry_check, name="registry_check"),
    path("registries/<str:name>/delete/", registries.registry_delete, name="registry_delete"),
    path("deliveries/<int:delivery_id>/push/", pushes.delivery_push, name="delivery_push"),
    path("deliveries/<int:delivery_id>/push/save/", pushes.delivery_save, name="delivery_save"),
    path("deliveries/<int:delivery_id>/push/load/", pushes.delivery_load, name="delivery_load"),
    path("transfers/<int:transfer_id>/cancel/", pushes.transfer_cancel, name="transfer_cancel"),
    path("transfers/<int:transfer_id>/pin/", pushes.transfer_pin, name="transfer_pin"),
    path("transfers/<int:transfer_id>/archive/", pushes.transfer_archive, name="transfer_archive"),
]
