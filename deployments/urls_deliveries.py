"""Addresses of deliveries, included by :mod:`deployments.urls`."""

from __future__ import annotations

from django.urls import path

from .views import deliveries, delivery_build, delivery_choices, delivery_dockerfile, trials

urlpatterns = [
    path("deliveries/", deliveries.delivery_list, name="deliveries"),
    path("deliveries/<int:delivery_id>/", deliveries.delivery, name="delivery"),
    path("deliveries/<int:delivery_id>/close/", deliveries.close, name="delivery_close"),
    path("deliveries/<int:delivery_id>/reopen/", deliveries.reopen, name="delivery_reopen"),
    path("deliveries/<int:delivery_id>/delete/", deliveries.delete, name="delivery_delete"),
    path("deliveries/<int:delivery_id>/requirement/", delivery_choices.requirement, name="delivery_requirement"),
    path("deliveries/<int:delivery_id>/tool/", delivery_choices.tool, name="delivery_tool"),
    path("deliveries/<int:delivery_id>/trial/", trials.delivery_trial, name="delivery_trial"),
    path("deliveries/<int:delivery_id>/trial/draft/", trials.trial_draft, name="trial_draft"),
    path("deliveries/<int:delivery_id>/trial/<int:deployment_id>/publish/", trials.trial_publish, name="trial_publish"),
    path("deliveries/<int:delivery_id>/dockerfile/", delivery_dockerfile.dockerfile, name="delivery_dockerfile"),
    path(
        "deliveries/<int:delivery_id>/dockerfile/review/",
        delivery_dockerfile.dockerfile_review,
        name="delivery_dockerfile_review",
    ),
    path(
        "deliveries/<int:delivery_id>/dockerfile/context/",
        delivery_dockerfile.dockerfile_context,
        name="delivery_context",
    ),
    path("deliveries/<int:delivery_id>/build/", delivery_build.build, name="delivery_build"),
    path(
        "deliveries/<int:delivery_id>/build/<int:build_id>/cancel/",
        delivery_build.build_cancel,
        name="delivery_build_cancel",
    ),
    path(
        "deliveries/<int:delivery_id>/build/<int:build_id>/delete/",
        delivery_build.image_delete,
        name="delivery_image_delete",
    ),
]
