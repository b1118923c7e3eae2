"""Addresses of the catalogue and of runs."""

from __future__ import annotations

from django.urls import path

from .urls_deliveries import urlpatterns as delivery_urls
from .urls_editor import urlpatterns as editor_urls
from .urls_pushes import urlpatterns as push_urls
from .views import catalogue, deployments, gpu_series, gpus, logs, nodes

app_name = "deployments"
urlpatterns = [
    path("catalogue/", catalogue.catalogue, name="catalogue"),
    path("catalogue/<str:name>/row/", catalogue.row, name="catalogue_row"),
    path("catalogue/<str:name>/start/", deployments.start, name="start"),
    path("deployments/", deployments.deployment_list, name="list"),
    path("deployments/<int:deployment_id>/", deployments.detail, name="detail"),
    path("deployments/<int:deployment_id>/row/", deployments.list_row, name="list_row"),
    path("deployments/<int:deployment_id>/stop/", deployments.stop, name="stop"),
    path("deployments/<int:deployment_id>/stop-now/", deployments.stop_at_once, name="stop_now"),
    path("deployments/<int:deployment_id>/replace/", deployments.replace, name="replace"),
    path("gpus/", gpus.gpus, name="gpus"),
    path("gpus/<str:name>/<str:uuid>/series/", gpu_series.gpu_series, name="gpu_series"),
    path("nodes/", nodes.node_list, name="nodes"),
    path("nodes/<str:name>/maintenance/", nodes.maintenance, name="maintenance"),
    path("nodes/<str:name>/lift/<str:uuid>/", nodes.lift, name="lift_quarantine"),
    path("deployments/<int:deployment_id>/restart/", deployments.restart, name="restart"),
    path("deployments/<int:deployment_id>/log/<int:attempt>/", logs.log_download, name="log_download"),
    path("deployments/<int:deployment_id>/log/<int:attempt>/lines/", logs.log_lines, name="log_lines"),
    path("deployments/<int:deployment_id>/log/<int:attempt>/search/", logs.log_search, name="log_search"),
    # `catalogue/new/` stands before `catalogue/<name>/` in there.
    *editor_urls,
    *delivery_urls,
    *push_urls,
]
