"""Addresses of the catalogue's editor, included by :mod:`deployments.urls`."""

from __future__ import annotations

from django.urls import path

from .views import catalogue_editor, catalogue_models, config_arguments, config_compose, config_revisions

urlpatterns = [
    path("catalogue/new/", catalogue_editor.config_new, name="config_new"),
    path("catalogue/new/arguments/", config_arguments.config_arguments, name="config_arguments"),
    path("catalogue/new/compose/", config_compose.config_compose, name="config_compose"),
    path("catalogue/new/preview/", catalogue_editor.config_preview, name="config_preview"),
    path("catalogue/<str:name>/", catalogue_editor.config_page, name="config"),
    path("catalogue/<str:name>/edit/", catalogue_editor.config_edit, name="config_edit"),
    path("catalogue/<str:name>/compose/", config_compose.config_compose_file, name="config_compose_file"),
    path("catalogue/<str:name>/copy/", catalogue_editor.config_copy, name="config_copy"),
    path("catalogue/<str:name>/delete/", catalogue_editor.config_delete, name="config_delete"),
    path("catalogue/<str:name>/restore/", catalogue_editor.config_restore, name="config_restore"),
    path("catalogue/<str:name>/revisions/<int:number>/", config_revisions.config_revision, name="config_revision"),
    path("models/", catalogue_models.model_list, name="model_list"),
    path("models/new/", catalogue_models.model_new, name="model_new"),
    path("models/<str:name>/edit/", catalogue_models.model_edit, name="model_edit"),
    path("models/<str:name>/delete/", catalogue_models.model_delete, name="model_delete"),
]
