"""From a request for a model as a service to a tested, pushed image: the steps and what each decides."""
