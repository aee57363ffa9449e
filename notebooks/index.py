# %% [markdown]
# # Robotics Transformers: a hands-on workbook for RT-1 and RT-2
#
# Start here. Each lesson is a notebook in the folder on the left.

# %%
import course_lib

print(course_lib.__doc__.splitlines()[0])
