"""A corpus of simulated series without labels, on which stage 1 is pretrained.

`processes` draws latent courses, `sensor` turns them into observed variates, `recipe` combines both to season tables.
No real table is read. Sources of the recipe:

* compositions of Gaussian-process kernels: KernelSynth of Chronos (Ansari et al. 2024, arXiv 2403.07815)
* double-logistic seasons of vegetation indices: Beck et al. 2006, Remote Sens. Environ. 100:321-334
* variates that mix a few shared courses: the linear model of coregionalisation (Journel and Huijbregts 1978)
* temperature as a yearly wave with autoregressive noise, and rain as a chain of wet and dry spells with gamma amounts:
  Richardson 1981, Water Resour. Res. 17:182-190
"""
